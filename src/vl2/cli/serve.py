"""`vl2 serve`: the HTTP API and the web page."""

import importlib.util
from typing import TYPE_CHECKING, Annotated

import typer

from vl2.cli import options, terminal
from vl2.errors import InputError, installing

if TYPE_CHECKING:
    from vl2.server.settings import Settings

_LOCAL = ("127.0.0.1", "localhost", "::1")
_KEY_VARIABLE = "VL2_API_KEY"
_HOSTS_VARIABLE = "VL2_ALLOW_HOSTS"


def command(
    context: typer.Context,
    model: options.Model = "nano",
    host: Annotated[
        str,
        typer.Option(metavar="HOST", help="The address to listen on; 0.0.0.0 is every one."),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes a free one."),
    ] = 8000,
    served_name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The name that requests call the model by.", show_default="--model"
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar=_KEY_VARIABLE,
            metavar="KEY",
            help="What clients must send as `Authorization: Bearer KEY`. The environment variable "
            "keeps it out of the list of processes.",
            show_default=False,
        ),
    ] = None,
    allow_hosts: Annotated[
        list[str] | None,
        typer.Option(
            envvar=_HOSTS_VARIABLE,
            metavar="HOST",
            help="Answer requests that call the server by this name too, as they do through a "
            "proxy; may be given several times. The environment variable has spaces between them.",
            show_default=False,
        ),
    ] = None,
    allow_urls: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="Fetch pictures from this host (or HOST:PORT); may be given several times.",
            show_default=False,
        ),
    ] = None,
    allow_private_urls: Annotated[
        bool,
        typer.Option(
            "--allow-private-urls",
            help="Fetch pictures from hosts of --allow-urls inside your own network too.",
        ),
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Let pages of this web origin call the API; may be given several times.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Answers that may be unfinished at once; more get a 429."
        ),
    ] = 64,
    picture_memory: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Memory for the pictures of unfinished answers, in MiB; more get a 429.",
        ),
    ] = 1024,
    max_body: Annotated[
        int, typer.Option(metavar="N", min=1, help="Largest body of a request, in MiB.")
    ] = 32,
    max_pixels: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Largest picture: width times height in millions of pixels."
        ),
    ] = 40,
    max_images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Most pictures in one conversation.")
    ] = 16,
    drain: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="How long open answers may go on when the server is to stop.",
        ),
    ] = 30,
    page: Annotated[
        bool | None,
        typer.Option(
            "--page/--no-page",
            help="Show a web page beside the API, or leave it out.",
            show_default="if gradio is installed",
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE",
            help="local, or vllm to hand over to vLLM's server if it is installed.",
        ),
    ] = "local",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    memory: options.Memory = None,
    quiet: options.Quiet = False,
) -> None:
    """Serve a model over HTTP: an API in the shape of OpenAI's, and a web page.

    Ctrl-C or SIGTERM stops it when the open answers are finished.
    """
    from vl2.server.listening import reserve
    from vl2.server.settings import Settings

    settings = Settings(
        model=served_name or model,
        host=host,
        hosts=tuple(allow_hosts or ()),
        api_key=api_key,
        url_hosts=tuple(allow_urls or ()),
        private_urls=allow_private_urls,
        origins=tuple(allow_origin or ()),
        queue=queue,
        picture_bytes=picture_memory * 2**20,
        max_body_bytes=max_body * 2**20,
        max_pixels=max_pixels * 10**6,
        max_images=max_images,
        drain_seconds=drain,
    )
    terminal.check_placement(device, dtype, memory)  # torch comes with the imports below
    if engine != "local":
        own = {
            "--page": page is True,
            "--device": device != "auto",
            "--memory": memory is not None,
            "--allow-hosts": bool(allow_hosts),
            "--allow-private-urls": allow_private_urls,
            "--queue": options.is_given(context, "queue"),
            "--picture-memory": options.is_given(context, "picture_memory"),
            "--max-body": options.is_given(context, "max_body"),
        }
        _hand_over(engine, model, host, port, dtype, settings, [name for name in own if own[name]])
    with reserve(host, port) as reserved:
        from vl2.server.app import create_app
        from vl2.server.running import run

        assistant = terminal.load_assistant(model, device, dtype, memory, quiet=quiet)
        app = create_app(assistant, settings)
        if page is None:
            page = importlib.util.find_spec("gradio") is not None
            if not page and not quiet:
                terminal.note(f"there is no web page; what brings it: {installing('web')}.")
        if page:
            from vl2.server.page.mounting import mount

            mount(app)
        if not quiet:
            open_to_all = host not in _LOCAL and api_key is None
            if open_to_all:
                terminal.note("anybody who can reach this machine may use it: see --api-key.")
        run(app, reserved, None if quiet else terminal.note)


def _hand_over(
    engine: str,
    model: str,
    host: str,
    port: int,
    dtype: str,
    settings: "Settings",
    refused: list[str],
) -> None:
    if engine != "vllm":
        raise InputError(f"There is no engine {engine!r}: use local or vllm.")
    if refused:
        raise InputError(f"vLLM's server has nothing like {refused[0]}: leave it out.")
    from vl2.engine.placement import choose_device, choose_dtype
    from vl2.engine.sources import find_checkpoint
    from vl2.plugins.vllm.serving import Handover, check_installed, hand_over

    check_installed()
    folder = find_checkpoint(model)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    device = choose_device()
    kind = choose_dtype(dtype, device, weights)
    hand_over(
        Handover(
            folder=folder,
            name=settings.model,
            host=host,
            port=port,
            dtype=str(kind).removeprefix("torch."),
            api_key=settings.api_key,
            url_hosts=settings.url_hosts,
            origins=settings.origins,
            max_pixels=settings.max_pixels,
            max_images=settings.max_images,
            drain_seconds=settings.drain_seconds,
            eager=device.type == "cpu",
        )
    )
