"""How good translations are: distances to real images, classes, structure, segmentation.

``evaluator.Evaluator`` scores arrays or files; ``records`` keeps and sums up scores. Nothing is imported
here, so that reading a record does not load a network.
"""
