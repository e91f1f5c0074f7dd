/* SPDX-License-Identifier: Apache-2.0 */
/* A model of the ring of uses (src/cache/l1_uses.h, l1_uses.c, l1_read.c) for spin: a reader that
 * notes hashes section by section, and whoever holds L1's lock, who reports some of them.
 *
 * The reader's stores become visible some time later, in their order; the tail that it looks at when
 * it enters a section may be an old one. The hashes are numbers that go up by one, so that what is
 * lost, reported twice or reported before it was written is seen.
 *
 * What must hold: every number is reported once, in its order. Each of these breaks it, so that the
 * model is known to see it:
 *   -DHEAD_FIRST  the head is published before the hash is written
 *   -DNO_ROOM     a section does not look how much room there is
 *   -DROOM_ONE    it takes one place more than there is
 *   -DTAIL_FIRST  a place is given back before it was read
 */
#define SIZE  2
#define NOTES 6 /* three times round */

byte slots[SIZE];
byte head = 0, tail = 0; /* as others see them */
chan stores = [2] of { bool, byte, byte }; /* the head?, where, what */
byte expected = 1;
bool over = false;

/* The reader's stores reach the memory one by one, in their order, at any time. */
proctype store_buffer()
{
    bool is_head;
    byte at, what;

end:
    do
    :: d_step {
            stores?is_head, at, what;
            if
            :: is_head -> head = what
            :: else -> slots[at] = what
            fi
        }
    od
}

proctype reader()
{
    byte mine = 0, room, noted = 0, seen;

    do
    :: noted == NOTES -> break
    :: else ->
        seen = tail; /* a section begins: uses_enter() */
#ifdef NO_ROOM
        room = SIZE;
#else
        room = SIZE - (mine - seen);
#endif
#ifdef ROOM_ONE
        room = room + 1;
#endif
        do
        :: room > 0 && noted < NOTES ->
            noted++;
#ifdef HEAD_FIRST
            stores!true, 0, mine + 1;
            stores!false, mine % SIZE, noted;
#else
            stores!false, mine % SIZE, noted;
            stores!true, 0, mine + 1;
#endif
            mine++;
            room--
        :: break /* the section ends */
        od
    od;
    over = true
}

/* Under the lock: as many as the credit allows. */
proctype reporter()
{
    byte until, at, what;

end:
    do
    :: until = head;
        if
        :: until == tail -> skip
        :: until != tail ->
            if
            :: until = tail + 1 /* little credit */
            :: skip
            fi;
            at = tail;
#ifdef TAIL_FIRST
            tail = until;
#endif
            do
            :: at == until -> break
            :: else ->
                what = slots[at % SIZE];
                assert(what == expected);
                expected++;
                at++
            od;
            tail = until
        fi
    od
}

init
{
    atomic {
        run store_buffer();
        run reader();
        run reporter()
    }
}
