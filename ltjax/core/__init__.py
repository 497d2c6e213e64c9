"""Trees, keys, masks, scores and pruning: pure functions over pytrees, for any training loop."""
