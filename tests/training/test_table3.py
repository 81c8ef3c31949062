import pytest

from lwisp.training.table3 import TABLE_3, table3


def test_table_3_stands_beside_what_the_paper_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lwisp.training.table3.TABLE_3", TABLE_3[2:])  # the others take long
    lines = table3().splitlines()
    full = next(line for line in lines if line.startswith("| LW-ISP with FGAM | 1440x1984"))
    assert full == "| LW-ISP with FGAM | 1440x1984 | 2,014,681 | 2,014,681 | 241.099 G | 211.914 G | 239.209 G |"
    printed = next(line for line in lines if line.startswith("| LW-ISP, printed as w/o FGAM | 224x224"))
    assert printed.startswith("| LW-ISP, printed as w/o FGAM | 224x224 | 1,660,777 | 1,660,777 | 3.441 G | 3.441 G |")
    assert sum("| LW-ISP without FGAM |" in line for line in lines) == 3
