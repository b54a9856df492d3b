import { defineConfig } from "@playwright/test"

// The servers are started by crates/agent/tests/it/browser, which says where they are.
export default defineConfig({
  testDir: "tests/browser",
  outputDir: "build/browser",
  workers: 1,
  retries: 0,
  forbidOnly: true,
  timeout: 120_000,
  expect: { timeout: 30_000 },
  reporter: [["list"]],
  use: {
    browserName: "chromium",
    baseURL: process.env["PAGE_URL"] ?? "",
    viewport: { width: 1280, height: 800 },
    locale: "en-US",
    timezoneId: "UTC",
    colorScheme: "light",
    launchOptions: {
      executablePath: process.env["PAGE_CHROMIUM"] ?? "/usr/bin/chromium",
      // The tests run as root, for whom Chromium has no sandbox.
      args: ["--no-sandbox", "--disable-dev-shm-usage"],
    },
  },
})
