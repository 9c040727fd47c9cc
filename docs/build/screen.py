"""The first screen of an HTML page as a picture: headless Chromium, light colours, two dots a pixel, few colours."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SCALE = 2
COLOURS = 128
MOST = 200_000  # bytes of a picture
OPTIONS = ("--headless=new", "--disable-gpu", "--hide-scrollbars", f"--force-device-scale-factor={SCALE}")


def first_screen(page: Path, width: int, height: int) -> bytes:
    """PNG of the upper `width` x `height` pixels of a page, 2 dots a pixel; raises RuntimeError without a Chromium."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise RuntimeError("pictures of pages need Chromium; install it (apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "screen.png"
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        command = [program, *OPTIONS, *root, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}",
                   f"--screenshot={shot}", page.resolve().as_uri()]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if not shot.exists():
            raise RuntimeError(f"{program} made no picture of {page}:\n{done.stderr}")
        return small(shot.read_bytes())


def small(png: bytes) -> bytes:
    """The picture with a palette of its own; raises ValueError when it still has more than 200 kB."""
    file = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True)
    if len(file.getvalue()) > MOST:
        raise ValueError(f"a picture of {len(file.getvalue()):,} bytes; allowed: {MOST:,}; take a smaller screen")
    return file.getvalue()
