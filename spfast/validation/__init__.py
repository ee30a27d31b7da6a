"""Whether a catalog can be believed: its checks against Gaia, the truth, clusters, reddening and another catalog."""
