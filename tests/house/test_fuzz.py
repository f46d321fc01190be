"""Five hundred of the ten thousand cases of `make fuzz`; seeds are stated in `fuzz_cases`."""

import fuzz_cases
import pytest


@pytest.mark.parametrize("kind", sorted(fuzz_cases.KINDS))
def test_a_result_or_an_error_of_ours(kind, tmp_path):
    share, _ = fuzz_cases.KINDS[kind]
    counts, shown = fuzz_cases.run(kind, 0, round(500 * share), tmp_path)
    assert shown == [], "\n".join(shown[:3])
    assert counts["typed"] > 0


def test_what_is_wrong_is_seen(tmp_path, monkeypatch):
    def raises(error):
        def call():
            raise error

        return lambda rng, folder: call

    for error, what in (
        (KeyError("x"), "untyped"),
        (AssertionError(), "wrong"),
        (ValueError(), "untyped"),
        (ValueError("x"), "typed"),
    ):
        monkeypatch.setitem(fuzz_cases.KINDS, "planted", (0.0, raises(error)))
        assert fuzz_cases.run("planted", 0, 2, tmp_path)[0] == {what: 2}
