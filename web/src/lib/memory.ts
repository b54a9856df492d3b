// What the browser remembers of the reader's choices. Where it may not, nothing is remembered.

const PREFIX = "gpu-session-monitor."

export function remembered(name: string): string | null {
  try {
    return localStorage.getItem(PREFIX + name)
  } catch {
    return null
  }
}

export function remember(name: string, value: string): void {
  try {
    localStorage.setItem(PREFIX + name, value)
  } catch {
    // Storage is off or full: the choice lasts as long as the page.
  }
}
