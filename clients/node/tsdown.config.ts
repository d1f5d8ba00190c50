import { defineConfig } from 'tsdown';

export default defineConfig({
  entry: ['src/index.ts', 'src/http.ts', 'src/token.ts'],
  format: 'esm',
  platform: 'neutral',
  target: 'es2022',
  dts: true,
  fixedExtension: false,
  sourcemap: false,
});
