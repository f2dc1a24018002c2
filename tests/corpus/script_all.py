"""Every script of the corpus."""

import script_ends
import script_parallel
import script_self
import script_state
import script_streams
from traits import Trait

TRAITS: list[Trait] = [
    *script_ends.TRAITS,
    *script_self.TRAITS,
    *script_streams.TRAITS,
    *script_parallel.TRAITS,
    *script_state.TRAITS,
]
