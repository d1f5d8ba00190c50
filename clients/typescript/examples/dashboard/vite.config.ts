import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

const { BACKEND_URL = 'http://127.0.0.1:4000', FANFARE_URL = 'http://127.0.0.1:8080' } = process.env;

/** Pages, backend and node at one address, as a reverse proxy would have it. */
const proxy = {
  '/api': BACKEND_URL,
  '/ws': { target: FANFARE_URL, ws: true },
  '/sse': FANFARE_URL,
  '/client/v1': FANFARE_URL,
};

export default defineConfig({
  plugins: [react()],
  server: { proxy },
  preview: { proxy },
  build: { outDir: 'dist/web' },
});
