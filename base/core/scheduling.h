// What the calling thread asks of the kernel's scheduler. Requests: where the kernel or a sandbox refuses, all goes on as it was.
#pragma once

namespace base {

// Work that can wait (a file to be written): runs when nobody else wants the processor, and makes way at once.
void run_in_background();

// Short turns (0.1 ms) in exchange for soon ones: an event is answered before programs that compute have used up theirs.
// Linux 6.12 and later; no more of the processor than before. Threads made afterwards inherit it.
void answer_promptly();

}  // namespace base
