"""A web page that paints: ``stylize web``.

What it does is in plain functions without Gradio (``uploads``, ``offers``, ``own_styles``, ``painting``,
``painting_actions``, ``norm_lesson``, ``adapting``, ``adapt_actions``); who waits for whom in ``line`` and ``jobs``;
the layout in ``page`` and the three tabs; ``server`` and ``guard`` are what the network sees. Gradio is an optional
package, imported inside functions only.
"""
