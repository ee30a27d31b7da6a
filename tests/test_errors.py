"""How other people's errors become one line."""

import pytest

from spfast.errors import BadInputError, reading


def test_whatever_a_parser_raises_becomes_one_short_line():
    with pytest.raises(BadInputError) as caught, reading("f", "no", "go"):
        raise ValueError("a\nb " + "x" * 1000)
    assert str(caught.value) == f"f: no (a b {'x' * 196}); go"
    with pytest.raises(BadInputError, match=r"^f: no \(MemoryError\); go$"), reading("f", "no", "go"):
        raise MemoryError
    with pytest.raises(BadInputError, match=r"^f: of ours$"), reading("f", "no", "go"):
        raise BadInputError("f: of ours")
    with pytest.raises(BadInputError, match=r"^f: no \(of another; do that\); go$"), reading("f", "no", "go"):
        raise BadInputError("of another; do that")
    with pytest.raises(KeyboardInterrupt), reading("f", "no", "go"):
        raise KeyboardInterrupt
