import assert from "node:assert/strict"
import { test } from "node:test"
import { csv } from "../../src/lib/csv.ts"

test("cells are quoted where they have to be", () => {
  assert.equal(csv(["a", "b"], [['say "hi"', "x,y"], ["two\nlines", null]]), 'a,b\r\n"say ""hi""","x,y"\r\n"two\nlines",\r\n')
})

test("no cell is a formula; numbers are numbers", () => {
  for (const name of ["=1+1", "+1", "-1", "@sum(a1)", "\tx", "\rx"]) {
    assert.match(csv(["a"], [[name]]).split("\r\n")[1] ?? "", /^"?'/, JSON.stringify(name))
  }
  assert.equal(csv(["a"], [[-1.5]]), "a\r\n-1.5\r\n")
  assert.equal(csv(["a"], [["a=b"]]), "a\r\na=b\r\n")
})

test("what is unknown is empty, and nothing is not", () => {
  assert.equal(csv(["a", "b"], [[null, 0]]), "a,b\r\n,0\r\n")
})
