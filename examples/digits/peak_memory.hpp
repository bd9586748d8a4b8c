// What the demo's programs report about themselves.
#pragma once

#include <cstdio>

/// The peak resident memory of this process so far, in MB; 0 if Linux does not tell it.
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
