"""Painting very many pictures on a cluster, so that nothing is lost or done twice whatever is killed on the way.

``storage`` reads and writes files here or behind a URL; ``jobs`` decides what is to be done; ``manifest`` keeps what
was done; ``worker`` paints; ``ray_cluster`` gives the work to Ray; ``running`` holds them together.
"""
