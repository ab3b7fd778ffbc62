// insist(step): up to three tries. What is taken away at the end has no later to be tried in, and a kernel that is short of memory or
// descriptors is so for a moment.
#pragma once

namespace edgemesh::detail {

template <class Step>
auto insist(const Step& step) {
  for (int more = 2;; --more)
    if (auto r = step(); r || more == 0) return r;
}

}  // namespace edgemesh::detail
