"""A camera to look through and a window to look at, both by OpenCV."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np

from stylize.errors import InputError, StylizeError
from stylize.image_errors import shown

NO_WINDOW = (
    "the installed OpenCV has no windows (it is opencv-python-headless, or there is no display): "
    "pip uninstall opencv-python-headless && pip install opencv-python, and run it on a desktop"
)

ESCAPE = 27
END = "q"


def opencv() -> ModuleType:
    """Return the module ``cv2``.

    Raises:
        InputError: It is not installed.
    """
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise InputError(f"a camera needs OpenCV ({error}): pip install opencv-python") from None


class Camera:
    """A camera, or a video file in its place.

    Args:
        capture: OpenCV's object, opened.
        name: What messages call it.
        mirror: Whether frames are mirrored, as one sees oneself.
    """

    def __init__(self, capture: object, name: str, mirror: bool) -> None:
        self._capture, self.name, self._mirror = capture, name, mirror

    def read(self) -> np.ndarray | None:
        """Return the next frame (H, W, 3), uint8, RGB; None at the end of a file or when the camera is gone."""
        there, pixels = self._capture.read()  # type: ignore[attr-defined]
        if not there or pixels is None:
            return None
        pixels = pixels[..., ::-1]
        return np.ascontiguousarray(pixels[:, ::-1] if self._mirror else pixels)

    def close(self) -> None:
        """Let go of the camera."""
        self._capture.release()  # type: ignore[attr-defined]


def open_camera(source: str, mirror: bool = True) -> Camera:
    """Open a camera by its number, or a video file, which is not mirrored.

    Raises:
        InputError: There is no such camera or file, or OpenCV is not installed.
    """
    cv2 = opencv()
    numbered = source.isascii() and source.isdigit()
    if not numbered and not Path(source).is_file():
        raise InputError(
            f"'{source}' is neither the number of a camera nor a video file; --source 0 is the first camera"
        )
    with _quiet(cv2):
        capture = cv2.VideoCapture(int(source) if numbered else source)
    if capture.isOpened():
        return Camera(capture, f"camera {source}" if numbered else shown(source), mirror and numbered)
    capture.release()
    if numbered:
        raise InputError(
            f"no camera {source} was found, or another program uses it; connect one, or give another number or a video "
            "file with --source"
        )
    raise InputError(f"{shown(source)} is no clip that OpenCV can read; convert it to .mp4")


@contextlib.contextmanager
def _quiet(cv2: ModuleType) -> Iterator[None]:
    """Keep OpenCV from writing to standard error what is said in one line of our own."""
    logging = getattr(getattr(cv2, "utils", None), "logging", None)
    if logging is None:
        yield
        return
    before = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(before)


def open_window(title: str) -> Window:
    """Open a window.

    Raises:
        StylizeError: This OpenCV cannot open windows.
    """
    return Window(title)


class Window:
    """A window of OpenCV.

    Args:
        title: Its title.

    Raises:
        StylizeError: This OpenCV cannot open windows.
    """

    def __init__(self, title: str) -> None:
        self._cv2, self._title = opencv(), title
        try:
            with _quiet(self._cv2):
                self._cv2.namedWindow(title, self._cv2.WINDOW_AUTOSIZE)
        except self._cv2.error:
            raise StylizeError(NO_WINDOW) from None

    def show(self, pixels: np.ndarray) -> None:
        """Show a picture (H, W, 3), uint8, RGB."""
        self._cv2.imshow(self._title, np.ascontiguousarray(pixels[..., ::-1]))

    def key(self) -> str | None:
        """Return the key that was pressed since the last call, or None; a closed window is the key that ends."""
        code = self._cv2.waitKey(1)
        if self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) < 1:
            return END
        if code < 0:
            return None
        return END if code & 0xFF == ESCAPE else chr(code & 0xFF)

    def close(self) -> None:
        """Close the window."""
        self._cv2.destroyWindow(self._title)
