"""From a recipe to weights: losses, the loop, studies of the paper's tables."""
