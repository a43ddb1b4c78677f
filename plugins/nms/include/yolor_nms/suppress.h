/// The last phases: rank the candidates of an image, find overlaps, keep, write.
///
/// See select.h for what a block is.
#pragma once

#include "yolor_nms/select.h"

namespace yolor_nms {

inline constexpr int kMaxWords = kDefaultWindow / kWordBits;

struct RankShared {
  std::uint64_t own_keys[kTile];
  std::uint64_t other_keys[kTile];
  std::int32_t ranks[kTile];
};

struct ResolveShared {
  std::uint64_t removed[kMaxWords];  // candidates of the window that a kept one suppresses
  std::int32_t kept[kWordBits];      // those of the current word: rows of the window
  std::int32_t num_kept_of_word;
};

/// Decode a candidate.
template <class Element>
YN_HD Ranked ranked_from_key(Problem<Element> const& problem, int image, std::uint64_t key) {
  Candidate const candidate = candidate_from_key(key);
  auto const pair = static_cast<int>(candidate.index);
  Site const site = site_of(problem.plan, image, pair / problem.plan.shape.num_classes);
  return {box_of(problem.box_logits(site), site.anchor), candidate.score,
          pair % problem.plan.shape.num_classes};
}

/// Phase 5: the rank of a candidate is the number of higher keys; decode it, and put it there.
template <class Block, class Element>
YN_HD void rank(Block& block, RankShared& shared, Problem<Element> const& problem, int image) {
  int const count = problem.num_ranked(image);
  std::uint64_t const* const keys = problem.keys(image);
  Ranked* const ranked = problem.ranked(image);
  for (int first = block.index() * kTile; first < count; first += block.count() * kTile) {
    int const own = smaller_of(kTile, count - first);
    block.for_each(own, [&](int i) {
      shared.own_keys[i] = keys[first + i];
      shared.ranks[i] = 0;
    });
    for (int other = 0; other < count; other += kTile) {
      int const others = smaller_of(kTile, count - other);
      block.for_each(others, [&](int i) { shared.other_keys[i] = keys[other + i]; });
      block.for_each(own, [&](int i) {
        int above = 0;
        for (int k = 0; k < others; ++k) { above += shared.other_keys[k] > shared.own_keys[i]; }
        shared.ranks[i] += above;
      });
    }
    block.for_each(own, [&](int i) {
      ranked[shared.ranks[i]] = ranked_from_key(problem, image, shared.own_keys[i]);
    });
  }
}

/// Bits of one row of a window: which of 64 candidates it suppresses. Those before it are left out.
template <class Element>
YN_HD std::uint64_t overlap_word(Problem<Element> const& problem, Ranked const* window, int count,
                                 int row, int word) {
  std::uint64_t bits = 0;
  int const end = smaller_of((word + 1) * kWordBits, count);
  int const begin = word * kWordBits > row ? word * kWordBits : row + 1;
  for (int column = begin; column < end; ++column) {
    if (problem.suppresses(window[row], window[column])) {
      bits |= std::uint64_t{1} << static_cast<unsigned>(column % kWordBits);
    }
  }
  return bits;
}

/// Compute the overlaps of a window of ranked candidates, this block's share of `num_shares`.
template <class Block, class Element>
YN_HD void fill_bits(Block& block, Problem<Element> const& problem, int image, int base, int share,
                     int num_shares) {
  int const count = smaller_of(problem.plan.window, problem.num_ranked(image) - base);
  Ranked const* const window = problem.ranked(image) + base;
  std::uint64_t* const bits = problem.bits(image);
  int const words = words_for(count);
  int const rows = (count - share + num_shares - 1) / num_shares;
  block.for_each(rows > 0 ? rows * words : 0, [&](int i) {
    int const row = i % rows * num_shares + share;
    int const word = i / rows;
    bits[row * problem.words_per_row() + word] = overlap_word(problem, window, count, row, word);
  });
}

/// Phase 6: overlaps of the first window, by all blocks.
template <class Block, class Element>
YN_HD void overlap(Block& block, Problem<Element> const& problem, int image) {
  fill_bits(block, problem, image, 0, block.index(), block.count());
}

/// Begin a window: those that an earlier window's kept candidates suppress are removed.
template <class Block, class Element>
YN_HD void begin_window(Block& block, ResolveShared& shared, Problem<Element> const& problem,
                        int image, int base, int num_kept) {
  int const count = smaller_of(problem.plan.window, problem.num_ranked(image) - base);
  Ranked const* const window = problem.ranked(image) + base;
  std::size_t const first_row = problem.first_row(image);
  block.for_each(words_for(count), [&](int word) { shared.removed[word] = 0; });
  if (num_kept == 0) { return; }
  block.for_each(count, [&](int i) {
    for (int k = 0; k < num_kept; ++k) {  // kept ones are in the outputs already
      float const* const corners = problem.outputs.boxes_xyxy + 4 * (first_row + k);
      Ranked const kept = {{corners[0], corners[1], corners[2], corners[3]},
                           0.0F,
                           problem.outputs.class_ids[first_row + k]};
      if (problem.suppresses(kept, window[i])) {
        block.set_bits(shared.removed[i / kWordBits],
                       std::uint64_t{1} << static_cast<unsigned>(i % kWordBits));
        return;
      }
    }
  });
}

/// Keep, in order, what is left of 64 candidates, and remove what they suppress in the window.
template <class Block, class Element>
YN_HD void resolve_word(Block& block, ResolveShared& shared, Problem<Element> const& problem,
                        int image, int count, int word, int room) {
  std::uint64_t const* const bits = problem.bits(image);
  int const words_per_row = problem.words_per_row();
  int const begin = word * kWordBits;
  block.for_each(1, [&](int) {
    int const end = smaller_of(begin + kWordBits, count);
    std::uint64_t removed = shared.removed[word];
    int kept = 0;
    for (int row = begin; row < end && kept < room; ++row) {
      if ((removed >> static_cast<unsigned>(row - begin) & 1U) != 0) { continue; }
      shared.kept[kept++] = row;
      removed |= bits[row * words_per_row + word];
    }
    shared.num_kept_of_word = kept;
  });
  int const kept = shared.num_kept_of_word;
  block.for_each(words_for(count) - word - 1, [&](int i) {
    std::uint64_t removed = 0;
    for (int k = 0; k < kept; ++k) {
      removed |= bits[shared.kept[k] * words_per_row + word + 1 + i];
    }
    shared.removed[word + 1 + i] |= removed;
  });
}

/// Write a detection, or zeros where there is no candidate.
template <class Element>
YN_HD void write_row(Problem<Element> const& problem, int image, int row, Ranked const& ranked) {
  std::size_t const at = problem.first_row(image) + static_cast<std::size_t>(row);
  float* const corners = problem.outputs.boxes_xyxy + 4 * at;
  corners[0] = ranked.box.x1;
  corners[1] = ranked.box.y1;
  corners[2] = ranked.box.x2;
  corners[3] = ranked.box.y2;
  problem.outputs.scores[at] = ranked.score;
  problem.outputs.class_ids[at] = ranked.class_id;
}

/// Phase 7, one block an image: keep in order of rank until the outputs are full, and write.
///
/// Overlaps of the first window are there. Most images need no other; this block computes those of
/// the next ones alone, in the same place.
template <class Block, class Element>
YN_HD void resolve(Block& block, ResolveShared& shared, Problem<Element> const& problem,
                   int image) {
  int const num_ranked = problem.num_ranked(image);
  int const max_detections = problem.plan.params.max_detections;
  int num_kept = 0;
  for (int base = 0; base < num_ranked && num_kept < max_detections; base += problem.plan.window) {
    int const count = smaller_of(problem.plan.window, num_ranked - base);
    begin_window(block, shared, problem, image, base, num_kept);
    if (base > 0) { fill_bits(block, problem, image, base, 0, 1); }
    for (int word = 0; word < words_for(count) && num_kept < max_detections; ++word) {
      resolve_word(block, shared, problem, image, count, word, max_detections - num_kept);
      int const kept = shared.num_kept_of_word;
      block.for_each(kept, [&](int k) {
        write_row(problem, image, num_kept + k,
                  problem.ranked(image)[base + shared.kept[k]]);
      });
      num_kept += kept;
    }
  }
  block.for_each(max_detections - num_kept,
                 [&](int i) { write_row(problem, image, num_kept + i, Ranked{}); });
  block.for_each(1, [&](int) { problem.outputs.num_detections[image] = num_kept; });
}

}  // namespace yolor_nms
