# SPDX-License-Identifier: Apache-2.0
"""Every interleaving of uses.pml: what readers note is reported once and in its order, and each way
to weaken the ring is seen."""

import pathlib

import mp_spin
import mp_tap


class UsesModel(mp_spin.Model):
    model = pathlib.Path(__file__).with_name("uses.pml")
    depth = 10000

    def test_every_use_is_reported_once_and_in_its_order(self):
        self.assert_holds()

    def test_with_the_head_before_the_hash_it_breaks(self):
        self.assert_broken("-DHEAD_FIRST", "(what==expected)")

    def test_without_a_look_for_room_it_breaks(self):
        self.assert_broken("-DNO_ROOM", "(what==expected)")

    def test_with_one_place_too_many_it_breaks(self):
        self.assert_broken("-DROOM_ONE", "(what==expected)")

    def test_with_the_place_given_back_before_it_was_read_it_breaks(self):
        self.assert_broken("-DTAIL_FIRST", "(what==expected)")


if __name__ == "__main__":
    mp_tap.main()
