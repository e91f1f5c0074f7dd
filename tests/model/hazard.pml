/* SPDX-License-Identifier: Apache-2.0 */
/* A model of L1's reads (src/core/hazard.c, src/cache/l1_read.h, src/cache/l1_turn.c) for spin.
 *
 * One address, always cached, in a table that is replaced now and then. Readers announce the table
 * and the entry; their stores become visible only some time later, as on every processor with a
 * store buffer, since readers have no fence. Writers replace the entry or the table, wait until every
 * reader's buffer was empty once (membarrier), look at all announcements and free what is in none.
 * A freed entry or table may come back as a new one at once. A reader's next section announces the
 * table of its last one before it looks, and takes it as it is if L1's turn is still the same: turns
 * are never used again, so that all that matters of them is who knows the latest one.
 *
 * What must hold: nobody uses what is freed, and no reader misses the address. Each of these breaks
 * it, so that the model is known to see it:
 *   -DNO_BARRIER    the writer does not wait for the readers' stores
 *   -DNO_SECOND_LOOK, -DNO_SECOND_LOOK_AT_ENTRY
 *                   the reader does not look again after it announced the table, the entry
 *   -DKEEP_OLD      the old table still points to entries after the new one is published
 *   -DEARLY_TURN    a section looks at the turn before it announces what it knows
 *   -DSAME_TURN     the turn stays when the table is replaced
 *   -DLATE_TURN     it changes only after the old table was retired
 *   -DNO_RETRY      a reader that finds nothing does not look whether the table was changed
 */
#ifndef READERS
#define READERS 1
#endif
#define ENTRIES (READERS + 2)
#define TABLES  (READERS + 1)
#define NONE    255

byte table = 0;       /* the published table */
byte cell[TABLES];    /* the entry that stands in each */
bool entry_freed[ENTRIES], table_freed[TABLES];
bool entry_retired[ENTRIES], table_retired[TABLES];

bool loaded[READERS]; /* whether the turn that each loaded last is still the latest */
bool knows[READERS];  /* the same of the turn of the table that its last section entered */

/* What each reader announces, as others see it, and its stores on the way there. */
byte sees_table[READERS], sees_entry[READERS];
chan stores[READERS] = [3] of { bool, byte }; /* of the table's slot?, what */

/* Of reader @me: its stores reach the memory one by one, in their order, at any time. */
proctype store_buffer(byte me)
{
    bool is_table;
    byte what;

end:
    do
    :: d_step {
            stores[me]?is_table, what;
            if
            :: is_table -> sees_table[me] = what
            :: else -> sees_entry[me] = what
            fi
        }
    od
}

proctype reader(byte me)
{
    byte t, e, again, last = NONE; /* the table that was entered last */
    bool same;

end:
    do
    :: t = last;
#ifdef EARLY_TURN
        same = knows[me];
#endif
        stores[me]!true, t;
#ifndef EARLY_TURN
        same = knows[me];
#endif
        if
        :: same -> goto look
        :: else
        fi;
enter:
        loaded[me] = true;
        t = table;
        stores[me]!true, t;
#ifndef NO_SECOND_LOOK
        again = table;
        if
        :: again != t -> goto enter
        :: else
        fi;
#endif
        d_step { knows[me] = loaded[me]; last = t };
look:
        assert(!table_freed[t]);
        e = cell[t];
        if
        :: e == NONE ->
#ifndef NO_RETRY
            again = table;
            if
            :: again != t -> goto enter
            :: else
            fi;
#endif
            assert(false) /* the address is cached all the time */
        :: else
        fi;
        stores[me]!false, e;
#ifndef NO_SECOND_LOOK_AT_ENTRY
        assert(!table_freed[t]);
        again = cell[t];
        if
        :: again != e -> goto look
        :: else
        fi;
#endif
        assert(!entry_freed[e]); /* the key is compared */
        assert(!entry_freed[e]); /* the caller reads the value */
        stores[me]!false, NONE;
        stores[me]!true, NONE
    od
}

/* Whether no reader announces it, looked up slot by slot, as a scan does. */
inline scan_entry(x)
{
    held = false;
    i = 0;
    do
    :: i < READERS -> held = held || sees_entry[i] == x; i++
    :: else -> break
    od
}

inline scan_table(x)
{
    held = false;
    i = 0;
    do
    :: i < READERS -> held = held || sees_table[i] == x; i++
    :: else -> break
    od
}

inline barrier()
{
#ifdef NO_BARRIER
    skip
#else
    i = 0;
    do
    :: i < READERS -> empty(stores[i]); i++
    :: else -> break
    od
#endif
}

inline scan()
{
    barrier();
    x = 0;
    do
    :: x < ENTRIES ->
        if
        :: entry_retired[x] ->
            scan_entry(x);
            if
            :: !held -> d_step { entry_retired[x] = false; entry_freed[x] = true }
            :: else
            fi
        :: else
        fi;
        x++
    :: else -> break
    od;
    x = 0;
    do
    :: x < TABLES ->
        if
        :: table_retired[x] ->
            scan_table(x);
            if
            :: !held -> d_step { table_retired[x] = false; table_freed[x] = true }
            :: else
            fi
        :: else
        fi;
        x++
    :: else -> break
    od;
    x = 0;
    held = false
}

/* One store: nobody knows it yet. */
inline next_turn()
{
    d_step {
        for (i : 0 .. READERS - 1) { knows[i] = false; loaded[i] = false }
        i = 0
    }
}

/* All writers in one, since they exclude each other. */
proctype writer()
{
    byte old, new, x, i;
    bool held;

end:
    do
    :: /* replace the entry */
        new = 0;
        do
        :: new < ENTRIES && !entry_freed[new] -> new++
        :: else -> break
        od;
        if
        :: new < ENTRIES ->
            entry_freed[new] = false; /* given out anew */
            old = cell[table];
            cell[table] = new;        /* one store */
            entry_retired[old] = true
        :: else
        fi;
        scan()
    :: /* replace the table */
        new = 0;
        do
        :: new < TABLES && !table_freed[new] -> new++
        :: else -> break
        od;
        if
        :: new < TABLES ->
            table_freed[new] = false;
            old = table;
            cell[new] = cell[old];
            table = new;
#if !defined(SAME_TURN) && !defined(LATE_TURN)
            next_turn();
#endif
#ifndef KEEP_OLD
            cell[old] = NONE;
#endif
            table_retired[old] = true
        :: else
        fi;
        scan();
#ifdef LATE_TURN
        next_turn();
#endif
    od
}

init
{
    byte k;

    d_step {
        for (k : 1 .. ENTRIES - 1) { entry_freed[k] = true }
        for (k : 1 .. TABLES - 1) { table_freed[k] = true; cell[k] = NONE }
        for (k : 0 .. READERS - 1) { sees_table[k] = NONE; sees_entry[k] = NONE }
        k = 0
    };
    atomic {
        for (k : 0 .. READERS - 1) { run store_buffer(k); run reader(k) }
        run writer()
    }
}
