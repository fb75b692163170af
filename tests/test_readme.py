"""What the README shows works, in its order."""

import re
from pathlib import Path

import numpy as np

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    names = {}
    exec(compile(source, "README.md", "exec"), names)
    assert names["error"] < 1e-13
    np.testing.assert_allclose(names["slopes"], (1, 2), atol=0.01)
    np.testing.assert_allclose(np.sort(names["growth"]), np.sort(np.linalg.svd(names["matrix"])[1][:3]))
    assert names["check_model"](names["model"]).dot_test < 1e-13
    assert np.abs(names["later"]).max() < 1 and names["gradients"].shape == (21, 40)
    assert names["analysis"].state.shape == (40,)
    assert names["averages"]["analysis_rmse"].shape == (3,)
    assert names["trained"].loss.shape == (3,) and names["gradient"].shape == (20,)
