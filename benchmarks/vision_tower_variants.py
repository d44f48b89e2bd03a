"""How far is the vision tower of the big engines from the one that the models were trained with?

The released models were trained with 27x27 patches of a tile of 384 pixels (the last 6 pixels are
dropped) and the tanh form of GELU. vLLM 0.33, SGLang 0.5.23 and lmdeploy build timm's SigLIP with
`dynamic_img_pad`: a tile is padded with zeros to 392 pixels and cut into 28x28 patches, the 27x27
table of positions is resampled (bicubic, with antialiasing) to 28x28, and GELU is the exact one.
After the adaptor both give 14x14 tokens, so nothing fails.

Both variants are stated again here on one tower with random weights of full size, and what they
give for the same tiles is compared: patch by patch (the first 27x27 patches see the same pixels in
both) and token by token after a random adaptor. bfloat16 beside float32 is the yardstick: what a
change of precision alone would do.

    python benchmarks/vision_tower_variants.py --out benchmarks/results

takes some minutes of one CPU core and writes two dated files, the numbers (JSON) and a page; called
again on that day it goes on with what the numbers lack. `--gains 1 2` does it twice, with larger
matrices too. `--width 64 --layers 2 --tiles 1` tries it quickly. Random weights say how strongly
the architecture reacts, not what the released weights lose; the file says so.
"""

from __future__ import annotations

import argparse
import datetime as dt
import itertools
import json
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

import vl2
from vl2.model.configuration import DeepseekVLV2ProjectorConfig, DeepseekVLV2VisionConfig
from vl2.model.projector import DeepseekVLV2Projector
from vl2.model.vision import DeepseekVLV2VisionModel
from vl2.processing.images import cut, open_image
from vl2.processing.tiling import Tiling

PICTURES = Path(vl2.__file__).parent / "assets" / "pictures"
POSITIONS = ("white", "smooth")
ADAPTOR_WIDTH = 1280

Results = list[dict[str, Any]]
"""For each kind of positions and gain, the distances of each variant, as JSON holds them."""


@dataclass(frozen=True)
class Variant:
    """A way to run the tower: patches along a side, and the form of GELU."""

    name: str
    grid: int
    gelu: str


@dataclass(frozen=True)
class Distance:
    """How far features are from the reference, over all rows.

    Attributes:
        relative: length of the difference as a share of the reference's length.
        cosine: mean cosine between the two after the reference's mean row is taken off both.
        worst: the smallest of these cosines.
    """

    relative: float
    cosine: float
    worst: float


VARIANTS = (
    Variant("exact GELU alone", 27, "none"),
    Variant("28x28 patches alone", 28, "tanh"),
    Variant("both, as the engines build it", 28, "none"),
)


def random_tower(
    width: int, layers: int, positions: str, gain: float, seed: int
) -> DeepseekVLV2VisionModel:
    """A tower with random weights.

    Args:
        width: 1152 in the released models.
        layers: 27 in the released models.
        positions: `white`, each patch's own random vector; or `smooth`, slow waves along both
            sides, which is nearer to what training gives.
        gain: what the usual random matrices are multiplied with.
        seed: of the random numbers.
    """
    torch.manual_seed(seed)
    heads = 16 if width % 16 == 0 else 1
    config = DeepseekVLV2VisionConfig(width=width, layers=layers, heads=heads)
    tower = DeepseekVLV2VisionModel(config).eval()
    with torch.no_grad():
        for block in tower.blocks:
            for linear in (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2):
                linear.weight.mul_(gain)
        if positions == "smooth":
            tower.pos_embed.copy_(_waves(config.patches_per_side, width))
    return tower


def _waves(side: int, width: int) -> torch.Tensor:
    """A smooth table of positions `[1, side * side, c]`, as long as the random one."""
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    frequencies = torch.rand(width, 2) * 4 * torch.pi
    phases = torch.rand(width) * 2 * torch.pi
    table = torch.sin(
        x.flatten()[:, None] * frequencies[:, 0] + y.flatten()[:, None] * frequencies[:, 1] + phases
    )
    return (table * (2 / width) ** 0.5)[None]


@torch.no_grad()
def features(tower: DeepseekVLV2VisionModel, tiles: torch.Tensor, variant: Variant) -> torch.Tensor:
    """Runs the tower's weights as a variant says.

    Args:
        tower: gives the weights.
        tiles: `[n, 3, s, s]`.
        variant: 27 patches a side drop the pixels that fill no patch, 28 pad with zeros.

    Returns:
        `[n, g * g, c]`.
    """
    patch, side = tower.config.patch_size, tower.config.patches_per_side
    missing = variant.grid * patch - tiles.shape[-1]
    if missing > 0:
        tiles = F.pad(tiles, (0, missing, 0, missing))
    x = tower.patch_embed(tiles.to(tower.pos_embed.dtype)) + _resampled(
        tower.pos_embed, side, variant.grid
    )
    for block in tower.blocks:
        x = x + block.attn(block.norm1(x))[0]
        hidden = F.gelu(block.mlp.fc1(block.norm2(x)), approximate=variant.gelu)
        x = x + block.mlp.fc2(hidden)
    return tower.norm(x)


def _resampled(table: torch.Tensor, side: int, wanted: int) -> torch.Tensor:
    if side == wanted:
        return table
    grid = table.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, (wanted, wanted), mode="bicubic", antialias=True)
    return grid.permute(0, 2, 3, 1).reshape(1, wanted * wanted, -1).to(table.dtype)


def distance(reference: torch.Tensor, other: torch.Tensor) -> Distance:
    """Compares rows `[..., d]`."""
    a, b = reference.float().flatten(0, -2), other.float().flatten(0, -2)
    mean = a.mean(0)
    cosines = F.cosine_similarity(a - mean, b - mean, dim=-1)
    relative = ((a - b).norm() / a.norm()).item()
    return Distance(relative, cosines.mean().item(), cosines.min().item())


def same_patches(x: torch.Tensor, side: int) -> torch.Tensor:
    """The first `side * side` patches of a larger grid, `[n, side * side, c]`."""
    grid = int(x.shape[1] ** 0.5)
    return x.unflatten(1, (grid, grid))[:, :side, :side].flatten(1, 2)


def some_tiles(count: int) -> torch.Tensor:
    """Tiles of the bundled pictures, `[count, 3, 384, 384]`."""
    tiling = Tiling()
    found = []
    for path in sorted(PICTURES.glob("*.png")):
        image = open_image(path)
        found.append(torch.from_numpy(cut(image, tiling.grid(*image.size), tiling)))
    return torch.cat(found)[:count]


def measure(
    width: int, layers: int, tiles: torch.Tensor, positions: str, gain: float, seed: int = 0
) -> Results:
    """Compares all variants on one random tower: patches, and tokens after the adaptor."""
    tower = random_tower(width, layers, positions, gain, seed)
    config = DeepseekVLV2ProjectorConfig(input_dim=width, n_embed=ADAPTOR_WIDTH)
    projector = DeepseekVLV2Projector(config).eval()
    for module in projector.layers:
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
            torch.nn.init.zeros_(module.bias)
    side = tower.config.patches_per_side
    with torch.no_grad():
        reference = tower(tiles)
        tokens = projector(reference)
        rows = []
        for variant in VARIANTS:
            found = features(tower, tiles, variant)
            patches = distance(reference, same_patches(found, side))
            rows.append((variant.name, patches, distance(tokens, projector(found))))
        tower, projector = tower.bfloat16(), projector.bfloat16()
        found = tower(tiles)
        yardstick = distance(reference, found), distance(tokens, projector(found))
        rows.append(("yardstick: the right tower in bfloat16", *yardstick))
    return [
        {
            "positions": positions,
            "gain": gain,
            "variant": name,
            "patches": asdict(of_patches),
            "tokens": asdict(of_tokens),
        }
        for name, of_patches, of_tokens in rows
    ]


def report(results: Results, settings: dict[str, Any]) -> str:
    """A dated page of what was found."""
    lines = [
        f"# Two vision towers compared, {settings['date']}",
        "",
        f"`benchmarks/vision_tower_variants.py`: random weights, {settings['width']} wide, "
        f"{settings['layers']} layers, {settings['tiles']} tiles of the bundled pictures, float32, "
        f"{settings['machine']}, torch {settings['torch']}.",
        "",
        "Relative: length of the difference as a share of the length of the right features. "
        "Cosine: of each patch or token with the right one, their common mean taken off; mean, "
        "and the worst in brackets.",
        "",
        "| positions | gain | variant | patches, relative | cosine | tokens, relative | cosine |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in results:
        cells = (
            f"{part['relative']:.4f} | {part['cosine']:.4f} ({part['worst']:.4f})"
            for part in (row["patches"], row["tokens"])
        )
        told = f"{row['positions']} | {row['gain']:g} | {row['variant']}"
        lines.append(f"| {told} | {' | '.join(cells)} |")
    lines += [
        "",
        "Established: how strongly this architecture reacts to the two changes when its weights "
        "are random, beside what bfloat16 alone does to it. The first 27x27 patches see the same "
        "pixels in both towers; what differs is their positions, the 55 patches more that they "
        "attend to, and the form of GELU. In the adaptor the engines' last row and column are "
        "real patches, where training had zeros.",
        "",
        "Not established: how much the released weights lose, in features or in answers. Trained "
        "positions may be smoother or rougher than either of the two kinds here, and trained "
        "layers may damp or amplify the difference. That takes a released checkpoint.",
        "",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Measures and prints; with `--out`, also writes dated files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=1152)
    parser.add_argument("--layers", type=int, default=27)
    parser.add_argument("--tiles", type=int, default=2)
    parser.add_argument("--gains", type=float, nargs="+", default=[1.0])
    parser.add_argument("--out", type=Path, help="folder for the dated files")
    options = parser.parse_args(arguments)
    tiles = some_tiles(options.tiles)
    settings = {
        "date": dt.datetime.now(tz=dt.timezone.utc).date().isoformat(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "width": options.width,
        "layers": options.layers,
        "tiles": len(tiles),
    }
    name = f"vision_tower_variants_{platform.machine()}_{settings['date']}"
    numbers = options.out / f"{name}.json" if options.out is not None else None
    results = _earlier(numbers, settings)
    done = {(row["positions"], row["gain"]) for row in results}
    for positions, gain in itertools.product(POSITIONS, options.gains):
        if (positions, gain) in done:
            continue
        results += measure(options.width, options.layers, tiles, positions, gain)
        if numbers is not None:
            held = {"settings": settings, "results": results}
            numbers.write_text(json.dumps(held, indent=1), encoding="utf-8")
    page = report(results, settings)
    sys.stdout.write(page)
    if numbers is not None:
        numbers.with_suffix(".md").write_text(page, encoding="utf-8")


def _earlier(numbers: Path | None, settings: dict[str, Any]) -> Results:
    """What an earlier call with the same settings has found."""
    if numbers is None or not numbers.is_file():
        return []
    held = json.loads(numbers.read_text(encoding="utf-8"))
    return held["results"] if held["settings"] == settings else []


if __name__ == "__main__":
    main(sys.argv[1:])
