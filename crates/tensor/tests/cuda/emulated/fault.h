// What is said of work that touches memory which is not its own, before the process dies of it.
#pragma once

#include "capture.h"

namespace emulated {

// As long as one lives, faults are told by the work that is done.
class Watch {
    static int depth;

  public:
    Watch();
    ~Watch();
};

void perform(const Operation& operation);

}  // namespace emulated
