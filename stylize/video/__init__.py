"""Video: painting frame after frame without flicker, measuring how steady it is, and reading and writing clips.

PyAV and OpenCV, the extra ``stylize[video]``, are imported only by the functions that need them.
"""
