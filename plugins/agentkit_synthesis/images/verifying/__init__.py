"""Whether made images are what their labels say, and no copies: a classifier and distances, from real images only. Needs torch."""
