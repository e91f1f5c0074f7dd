# SPDX-License-Identifier: Apache-2.0
"""Every interleaving of hazard.pml: the protocol of L1's reads holds, and each way to weaken it is
seen. A stress test proves nothing here: without the barrier billions of reads went well."""

import pathlib

import mp_spin
import mp_tap


class HazardModel(mp_spin.Model):
    model = pathlib.Path(__file__).with_name("hazard.pml")
    flags = ("-DCOLLAPSE", "-DVECTORSZ=2048")

    def test_nobody_uses_what_is_freed_and_no_reader_misses_what_is_cached(self):
        self.assert_holds()

    def test_without_the_writers_barrier_it_breaks(self):
        self.assert_broken("-DNO_BARRIER", " !(table_freed[t])")

    def test_without_the_second_look_it_breaks(self):
        self.assert_broken("-DNO_SECOND_LOOK", " !(table_freed[t])")
        self.assert_broken("-DNO_SECOND_LOOK_AT_ENTRY", " !(entry_freed[e])")

    def test_with_a_turn_looked_at_before_the_announcement_it_breaks(self):
        self.assert_broken("-DEARLY_TURN", " !(table_freed[t])")

    def test_with_a_turn_that_outlives_its_table_it_breaks(self):
        self.assert_broken("-DSAME_TURN", " !(table_freed[t])")

    def test_with_a_turn_that_changes_after_the_table_was_retired_it_breaks(self):
        self.assert_broken("-DLATE_TURN", " !(table_freed[t])")

    def test_with_entries_left_in_the_old_table_it_breaks(self):
        self.assert_broken("-DKEEP_OLD", " !(entry_freed[e])")

    def test_without_looking_for_a_newer_table_a_reader_misses(self):
        self.assert_broken("-DNO_RETRY", "0")


if __name__ == "__main__":
    mp_tap.main()
