"""The web page: a conversation about pictures, mounted beside the API by `mounting.mount`."""
