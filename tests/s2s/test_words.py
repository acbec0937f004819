"""What a data engineer reads of a refusal or a halt, word by word, and the limits to the character."""

from __future__ import annotations

import pytest
from s2s_case import DEFAULTS
