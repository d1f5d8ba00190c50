import type { NextConfig } from 'next';

export default {
  // The lockfiles of the directories above are other projects'.
  turbopack: { root: import.meta.dirname },
} satisfies NextConfig;
