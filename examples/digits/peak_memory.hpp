// What the demo's programs say of themselves.
#pragma once

#include <cstdio>

/// The most memory that this process has had resident so far, in MB; 0 where Linux does not say it.
inline double peak_memory_mb() {
  double kb = 0;
  if (std::FILE* status = std::fopen("/proc/self/status", "r")) {
    char line[256];
    while (std::fgets(line, sizeof line, status)) {
      if (std::sscanf(line, "VmHWM: %lf", &kb) == 1) break;
    }
    std::fclose(status);
  }
  return kb / 1024;
}
