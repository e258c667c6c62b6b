"""Why instance norm works better for stylization: probes of trained networks, experiments that train, a report."""
