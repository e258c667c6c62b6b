"""A web page that paints: ``stylize web``.

What it does is in plain functions without Gradio (``uploads``, ``offers``, ``painting``, ``norm_lesson``,
``adapting``); the layout is in ``page`` and the three tabs; ``server`` and ``guard`` are what the network sees.
Gradio is an optional package, imported inside functions only.
"""
