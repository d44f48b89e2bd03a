"""The HTTP server: an API in the shape of OpenAI's, and a web page, on one port."""
