// Memory that was needed once goes back to the system; and none of it goes into a core dump.
#pragma once

namespace base {

// After much was freed, such as a first load's lists and transaction: the allocator keeps pages for the next time otherwise.
// Takes milliseconds.
void give_back_memory();

// At start: blocks of 256 KiB and more go back when they are freed. The allocator otherwise keeps them for the next time, once it has
// seen one, and a file of megabytes is written rarely.
void return_large_blocks();

// At start: a core dump of this process, by the kernel or by a debugger, holds registers and what is mapped from files, and nothing of
// heap and stacks, where keys are. False: the kernel does not let us say so. Children inherit it.
bool keep_memory_out_of_core_dumps();

}  // namespace base
