import type { Lifecycle, Off } from '@fanfare/client';

/** A lifecycle whose app the test wakes. */
export function sleeper(): Lifecycle & { wake(): void; readonly listeners: number } {
  const wakes = new Set<() => void>();
  return {
    onWake(wake): Off {
      wakes.add(wake);
      return () => wakes.delete(wake);
    },
    wake() {
      for (const wake of wakes) {
        wake();
      }
    },
    get listeners() {
      return wakes.size;
    },
  };
}
