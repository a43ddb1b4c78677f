/// The phases of a round: how the best candidates that are left relate to each other, which of them
/// are kept, and what a kept one suppresses among the others.
#pragma once

#include "yolor_nms/cut.h"

namespace yolor_nms {

inline constexpr int kKeptTile = 512;

struct RelateShared {
  Box boxes[kMaxWindow];
  std::uint64_t keys[kMaxWindow];
  std::int32_t class_ids[kMaxWindow];
  std::uint32_t ranks[kMaxWindow];
  std::uint32_t rivals[kMaxWindow];
};

/// What is known of the window: bit b of word w is about candidate 32 w + b.
struct Verdicts {
  std::uint32_t open[kMaxWords];
  std::uint32_t kept[kMaxWords];
};

struct ResolveShared {
  Verdicts turns[2];
  std::uint32_t kept_by_rank[kMaxWords];
};

struct RemoveShared {
  Box boxes[kKeptTile];
  std::int32_t class_ids[kKeptTile];
  std::uint32_t removed[kMaxWords];
};

YN_HD constexpr std::uint32_t bits_below(int lane) {
  return (std::uint32_t{1} << static_cast<unsigned>(lane)) - 1;
}

YN_HD constexpr std::uint32_t bit_of(int lane) {
  return std::uint32_t{1} << static_cast<unsigned>(lane);
}

YN_HD constexpr int lowest_bit(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __ffs(static_cast<int>(word)) - 1;
#else
  return __builtin_ctz(word);
#endif
}

YN_HD constexpr int count_bits(std::uint32_t word) {
#if defined(__CUDA_ARCH__)
  return __popc(word);
#else
  return __builtin_popcount(word);
#endif
}

/// Which share of the work on an image this is; none, where the index is not below the count.
struct Share {
  int index, count;

  YN_PHASE int of(int items) const {
    return index < count && items > index ? ceil_div(items - index, count) : 0;
  }
  YN_PHASE int item(int k) const { return index + k * count; }
};

/// Find how many of the window are better than each candidate of a share, and which of them overlap
/// it. A warp compares a candidate with some of the words; where a block has few candidates,
/// several warps share one.
template <class Block, class Element>
YN_PHASE void relate(Block& block, RelateShared& shared, Problem<Element> const& problem, int image,
                     int round, Share const& share) {
  int const count = problem.num_in_window(image, round);
  int const own = share.of(count);
  if (own == 0) { return; }
  Found const* const window = problem.window(image, round);
  float const threshold = *problem.inputs.iou_threshold;
  block.for_each(count, [&](int i) {
    Found const found = window[i];
    shared.boxes[i] = found.box;
    shared.keys[i] = found.key;
    shared.class_ids[i] = found.class_id;
    shared.ranks[i] = 0;
    shared.rivals[i] = 0;
  });
  int const num_words = ceil_div(count, kWordBits);
  int const parts = smaller_of(num_words, own < kMaxWords ? kMaxWords / own : 1);
  block.for_each_warp(own * parts, [&](auto& warp, int item) {
    int const k = item / parts;
    int const i = share.item(k);
    std::uint64_t const key = shared.keys[i];
    Box const box = shared.boxes[i];
    int const class_id = shared.class_ids[i];
    int num_better = 0;
    std::uint32_t rivals = 0;
    for (int word = item - k * parts; word < num_words; word += parts) {
      int const first = word * kWordBits;
      typename Block::Warp::template PerLane<bool> is_better;
      num_better += count_bits(warp.ballot([&](int lane) {
        is_better[lane] = first + lane < count && shared.keys[first + lane] > key;
        return is_better[lane];
      }));
      std::uint32_t const overlaps = warp.ballot([&](int lane) {
        int const j = first + lane;
        return is_better[lane] &&
               problem.suppresses(shared.boxes[j], shared.class_ids[j], box, class_id, threshold);
      });
      if (overlaps == 0) { continue; }
      rivals |= bit_of(word);
      warp.once([&] { problem.overlaps(image, word)[i] = overlaps; });
    }
    warp.once([&] {
      block.add(shared.ranks[k], static_cast<std::uint32_t>(num_better));
      if (rivals != 0) { block.set_bits(shared.rivals[k], rivals); }
    });
  });
  block.for_each(own, [&](int k) {
    problem.ranks(image)[share.item(k)] = shared.ranks[k];
    problem.rivals(image)[share.item(k)] = shared.rivals[k];
  });
}

/// What is known of the better ones that overlap a candidate.
struct Rivals {
  bool is_any_open, is_any_kept;
};

/// Four reads are under way at once: a candidate seldom has rivals in more words.
///
/// @param words  bit w: the candidate has rivals among those of word w
template <class Element>
YN_PHASE Rivals rivals_of(Problem<Element> const& problem, int image, int i, std::uint32_t words,
                          Verdicts const& now) {
  constexpr int kReads = 4;
  std::uint32_t any_open = 0;
  std::uint32_t any_kept = 0;
  YN_ROLLED
  while (words != 0) {
    int word[kReads];
    std::uint32_t overlaps[kReads];
    YN_UNROLL
    for (int k = 0; k < kReads; ++k) {
      word[k] = words != 0 ? lowest_bit(words) : 0;
      overlaps[k] = words != 0 ? problem.overlaps(image, word[k])[i] : 0;
      words &= words - 1;  // 0 stays
    }
    YN_UNROLL
    for (int k = 0; k < kReads; ++k) {
      any_open |= overlaps[k] & now.open[word[k]];
      any_kept |= overlaps[k] & now.kept[word[k]];
    }
  }
  return {any_open != 0, any_kept != 0};
}

/// Decide which candidates of the window are kept.
///
/// One is kept if every better one that overlaps it is out, and out if one of them is kept. All
/// that can be decided is decided at once, turn after turn; what is decided does not depend on the
/// order. As many turns as the longest chain of suppressions: a handful, mostly; one more than the
/// window has candidates at most, because the best that is open is decided in every turn.
///
/// @return the verdicts, which are in shared memory
template <class Block, class Element>
YN_PHASE Verdicts const& decide(Block& block, ResolveShared& shared,
                                Problem<Element> const& problem, int image, int count) {
  int const num_words = ceil_div(count, kWordBits);
  typename Block::template PerThread<std::uint32_t> rivals;
  block.each_thread(count, [&](int i) { rivals[i] = problem.rivals(image)[i]; });
  block.for_each(num_words, [&](int word) {
    int const rest = count - word * kWordBits;
    shared.turns[0].open[word] = rest < kWordBits ? bits_below(rest) : ~std::uint32_t{0};
    shared.turns[0].kept[word] = 0;
  });
  for (int turn = 0;; turn ^= 1) {
    Verdicts const& now = shared.turns[turn];
    Verdicts& next = shared.turns[turn ^ 1];
    bool const is_open = block.any_warp(num_words, [&](auto& warp, int word) {
      std::uint32_t open = now.open[word];
      std::uint32_t kept = now.kept[word];
      if (open != 0) {
        typename Block::Warp::template PerLane<Rivals> found;
        std::uint32_t const out = warp.ballot([&](int lane) {
          int const i = word * kWordBits + lane;
          found[lane] = (open & bit_of(lane)) != 0 ? rivals_of(problem, image, i, rivals[i], now)
                                                   : Rivals{false, false};
          return found[lane].is_any_kept;
        });
        std::uint32_t const in = warp.ballot([&](int lane) {
          return (open & ~out & bit_of(lane)) != 0 && !found[lane].is_any_open;
        });
        open &= ~(out | in);
        kept |= in;
      }
      warp.once([&] {
        next.open[word] = open;
        next.kept[word] = kept;
      });
      return open != 0;
    });
    if (!is_open) { return next; }
  }
}

/// Write a detection.
template <class Element>
YN_PHASE void write_row(Problem<Element> const& problem, int image, int row, Found const& found) {
  std::size_t const at = problem.first_row(image) + static_cast<std::size_t>(row);
  float* const corners = problem.outputs.boxes_xyxy + 4 * at;
  corners[0] = found.box.x1;
  corners[1] = found.box.y1;
  corners[2] = found.box.x2;
  corners[3] = found.box.y2;
  problem.outputs.scores[at] = candidate_from_key(found.key).score;
  problem.outputs.class_ids[at] = found.class_id;
}

/// One block an image: keep until the outputs are full, and write in order of rank.
///
/// @param is_final  whether no image has another round; the state is not written then, since other
///                  blocks may still read it
template <class Block, class Element>
YN_PHASE void resolve(Block& block, ResolveShared& shared, Problem<Element> const& problem,
                      int image, int round, bool is_final) {
  if (block.index() != 0) { return; }
  ImageState& state = problem.state(image);
  int const count = problem.num_in_window(image, round);
  bool const is_last = !problem.is_beyond_window(image, round);
  int const kept_before = static_cast<int>(state.num_kept);
  int const room = problem.plan.params.max_detections - kept_before;
  // Read ahead of the decisions, which take longer.
  Found const* const window = problem.window(image, round);
  std::uint32_t const* const ranks = problem.ranks(image);
  typename Block::template PerThread<Found> found;
  typename Block::template PerThread<int> rank;
  block.each_thread(count, [&](int i) {
    found[i] = window[i];
    rank[i] = static_cast<int>(ranks[i]);
  });
  block.for_each(kMaxWords, [&](int word) { shared.kept_by_rank[word] = 0; });
  Verdicts const& verdicts = decide(block, shared, problem, image, count);
  auto const is_kept = [&](int i) {
    return (verdicts.kept[i / kWordBits] & bit_of(i % kWordBits)) != 0;
  };
  block.each_thread(count, [&](int i) {
    if (!is_kept(i)) { return; }
    block.set_bits(shared.kept_by_rank[rank[i] / kWordBits], bit_of(rank[i] % kWordBits));
  });
  block.sync();
  block.each_thread(count, [&](int i) {
    if (!is_kept(i)) { return; }
    int const word = rank[i] / kWordBits;
    int row = count_bits(shared.kept_by_rank[word] & bits_below(rank[i] % kWordBits));
    for (int before = 0; before < word; ++before) {
      row += count_bits(shared.kept_by_rank[before]);
    }
    if (row < room) { write_row(problem, image, kept_before + row, found[i]); }
  });
  block.for_each_warp(1, [&](auto& warp, int /*item*/) {
    auto const all_kept = static_cast<int>(warp.sum([&](int lane) {
      return static_cast<std::uint32_t>(count_bits(shared.kept_by_rank[lane]));
    }));
    int const num_kept = smaller_of(all_kept, room);
    warp.once([&] {
      problem.outputs.num_detections[image] = kept_before + num_kept;
      if (is_final) { return; }
      state.num_kept_before = static_cast<std::uint32_t>(kept_before);
      state.num_kept = static_cast<std::uint32_t>(kept_before + num_kept);
      state.is_done = is_last || num_kept == room ? 1U : 0U;
      state.num_listed[(round + 1) & 1] = 0;
    });
  });
}

/// The kept ones of a round, some at a time, in shared memory.
template <class Block, class Element>
YN_PHASE void load_kept(Block& block, RemoveShared& shared, Problem<Element> const& problem,
                        int image, int first, int count) {
  std::size_t const first_row = problem.first_row(image) + static_cast<std::size_t>(first);
  Outputs const& outputs = problem.outputs;
  block.for_each(count, [&](int i) {
    std::size_t const row = first_row + static_cast<std::size_t>(i);
    float const* const corners = outputs.boxes_xyxy + 4 * row;
    shared.boxes[i] = {corners[0], corners[1], corners[2], corners[3]};
    shared.class_ids[i] = outputs.class_ids[row];
  });
}

/// List for the next round what was not in the window, unless a detection of this one suppresses
/// it.
template <class Block, class Element>
YN_PHASE void remove_suppressed(Block& block, RemoveShared& shared, Problem<Element> const& problem,
                                int image, int round) {
  ImageState& state = problem.state(image);
  if (state.is_done != 0) { return; }
  int const count = problem.num_listed(image, round);
  int const share = ceil_div(count, block.count());
  int const end = smaller_of(count, (block.index() + 1) * share);
  auto const first_kept = static_cast<int>(state.num_kept_before);
  auto const num_kept = static_cast<int>(state.num_kept) - first_kept;
  std::uint64_t const lowest = state.lowest_key;
  Found const* const list = problem.list(image, round);
  Found* const left = problem.list(image, round + 1);
  float const threshold = *problem.inputs.iou_threshold;
  for (int first = block.index() * share; first < end; first += kMaxWindow) {
    int const tile = smaller_of(kMaxWindow, end - first);
    int const parts = kMaxWindow / tile;  // threads for each candidate
    block.for_each(kMaxWords, [&](int word) { shared.removed[word] = 0; });
    for (int kept = 0; kept < num_kept; kept += kKeptTile) {
      int const num_loaded = smaller_of(kKeptTile, num_kept - kept);
      load_kept(block, shared, problem, image, first_kept + kept, num_loaded);
      block.for_each(tile * parts, [&](int item) {
        int const part = item / tile;
        int const i = item - part * tile;
        Found const found = list[first + i];
        for (int k = part; k < num_loaded; k += parts) {
          if (problem.suppresses(shared.boxes[k], shared.class_ids[k], found.box, found.class_id,
                                 threshold)) {
            block.set_bits(shared.removed[i / kWordBits], bit_of(i % kWordBits));
            break;
          }
        }
      });
    }
    block.for_each(tile, [&](int i) {
      Found const found = list[first + i];
      bool const is_out = (shared.removed[i / kWordBits] & bit_of(i % kWordBits)) != 0;
      if (is_out || found.key >= lowest) { return; }
      left[block.take_slot(state.num_listed[(round + 1) & 1])] = found;
    });
  }
}

}  // namespace yolor_nms
