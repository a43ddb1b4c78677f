/// How the phases run on two machines.
///
/// A *phase* is a function of a block, a problem and an image. A *block* is kMaxWindow threads with
/// shared memory, one of `block.count()` that work on the same image; a *warp* is 32 of its
/// threads. On a GPU they are that; on the host a block is a loop over its threads, and blocks run
/// one after the other, in any order (`src/device_machine.cuh`, `src/host_machine.h`). What a phase
/// does must not depend on the order.
///
///     block.for_each(n, f)            f(0) .. f(n - 1), by any threads; then a barrier
///     block.for_each_of(n, p, f)      f(i) where p(i); several p(i) may come first
///     block.for_each_pair_of(n, p, f) f(i, lane) where p(i, lane), by lanes of a warp; likewise
///     block.for_each_warp(n, f)       f(warp, i) likewise, a warp each
///     block.each_thread(n, f)         f(i) by thread i, n <= kMaxWindow; no barrier
///     block.any_warp(n, f)            whether any f(warp, i) is true, told to all threads
///     block.sync()                    a barrier
///     block.add(counter, value)       atomic; the value before
///     block.set_bits(word, bits)      atomic
///     block.take_slot(counter)        as add(counter, 1), cheaper where neighbours do it
///     Block::PerThread<T>             an array by thread: on a GPU, registers
///     warp.ballot(f), sum(f), max(f)  of f(0) .. f(31), by lane
///     warp.once(f)                    f(), once
///     Warp::PerLane<T>                an array by lane
///
/// A *grid* is all blocks of all images, and holds the order of phases (`detect.h`):
///
///     grid.phase(f, is_alone)         f(block, image) for every block; waits for the phase before,
///                                     unless a block needs only what it did there itself
///     grid.led_phase(f)               f(block, image, wait) likewise, with the wait where f calls
///                                     wait(); before, only shared memory and inputs may be used
///     grid.most(m, f)                 the highest f(image), 0 to m, of all images; waits likewise
///     grid.shared()                   the shared memory of the block that runs
#pragma once

#if defined(__CUDACC__)
#define YN_PHASE __device__ __forceinline__
#define YN_UNROLL _Pragma("unroll")
#define YN_ROLLED _Pragma("unroll 1")
#else
#define YN_PHASE inline
#define YN_UNROLL
#define YN_ROLLED
#endif
