"""What a packaged program can be, by what its model is for, and the C files that it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeq.errors import UnsupportedError
from edgeq.package import image

APP = Path(__file__).resolve().parent / "app"
TEXT, PHOTO = "text", "photo"


@dataclass(frozen=True)
class Program:
    """A kind of program.

    Attributes:
        run: the C function that does the work (app.h). reads: TEXT (then a tokenizer goes in) or PHOTO.
        sources: its C files but for the tokenizer's. example: what follows the program's name.
    """

    run: str
    reads: str
    sources: tuple[Path, ...]
    example: str

    @property
    def include(self) -> list[Path]:
        """Folders of the headers."""
        return [APP, image.INCLUDE]


def _files(*names: str) -> tuple[Path, ...]:
    return tuple(APP / f"{name}.c" for name in names)


_EVERY = _files("main", "sections", "options", "facts", "say", "info", "bench", "buffer", "utf8")
_CHAT = _files("tokens", "chat", "answer", "stream", "conversation", "stop")
_EMBED, _CLASSIFY = _files("tokens", "texts", "embed"), _files("tokens", "texts", "scores", "classify_text")


def _photos(run: str, example: str, *files: str) -> Program:
    return Program(run, PHOTO, (*_EVERY, *_files("scores"), *image.sources(*files)), example)


PROGRAMS = {
    "chat": Program("edgeq_app_chat", TEXT, (*_EVERY, *_CHAT), '"Explain rain to a child."'),
    "embedding": Program("edgeq_app_embed", TEXT, (*_EVERY, *_EMBED), '--similarity "a cat" "a kitten"'),
    "text-classification": Program("edgeq_app_classify_text", TEXT, (*_EVERY, *_CLASSIFY), '"what a film"'),
    "image-classification": _photos("edgeq_app_classify_image", "photo.jpg", "classify"),
    "image-features": _photos("edgeq_app_embed_image", "photo.jpg", "features"),
    "detection": _photos("edgeq_app_detect", "photo.jpg", "detect"),
    "segmentation": _photos("edgeq_app_segment", "photo.jpg --point 310,220 -o mask.png", "segment", "masks", "points"),
}


def program_of(kind: str, refused: str | None) -> Program:
    """The program for a kind of model.

    Args:
        kind: `task.kind` of edgeq.json. refused: why its texts or photos cannot be prepared, None when they can.

    Raises:
        UnsupportedError: no program does this.
    """
    if kind not in PROGRAMS:
        raise UnsupportedError(
            f"no packaged program is known for {kind} models (there are: {', '.join(PROGRAMS)}); "
            "use `edgeq run`, or the C API (docs/c-api.md)"
        )
    if refused:
        raise UnsupportedError(f"its {PROGRAMS[kind].reads}s cannot be prepared: {refused}")
    return PROGRAMS[kind]
