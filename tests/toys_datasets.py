"""Files in the layouts of published data sets."""

import numpy as np
from scipy.io import savemat


def bsds_truth(path, maps):
    """Write the segmentations that several annotators drew of a photograph, as BSDS500 stores them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.empty((1, len(maps)), object)
    for k, labels in enumerate(maps):
        cells[0, k] = {
            "Segmentation": np.array(labels, np.uint16),
            "Boundaries": np.zeros((2, 2), np.uint8),
        }
    savemat(path, {"groundTruth": cells})
