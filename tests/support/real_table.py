"""The public table of 420 patients with nasopharyngeal MRI, measured twice: read once in a run, as it takes seconds."""

import pickle

from scanside.training.signature.store import Measurements
from scanside.training.signature.tables import read_table
from tests.support import once
from tests.support.shared_data import shared_data


def real_table() -> tuple[Measurements, str]:
    """What `read_table` makes of its three files."""
    folder = shared_data("tables", "npc_mri_radiomics")
    files = [
        folder / name
        for name in ("samples_feat_1st.xlsx", "samples_feat_2nd.xlsx", "sample_datasheet_complex.csv")
    ]
    key = once.key("training", ("numpy",), *(file.read_bytes() for file in files))
    found: tuple[Measurements, str] = pickle.loads(once.kept(key, lambda: pickle.dumps(read_table(*files))))
    return found
