// Memory that was needed once goes back to the system.
#pragma once

namespace base {

// After much was freed, such as a first load's lists and transaction: the allocator keeps pages for the next time otherwise.
// Takes milliseconds.
void give_back_memory();

// At start: blocks of 256 KiB and more go back when they are freed. The allocator otherwise keeps them for the next time, once it has
// seen one, and a file of megabytes is written rarely.
void return_large_blocks();

}  // namespace base
