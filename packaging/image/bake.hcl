# docker buildx bake -f packaging/image/bake.hcl
# linux/amd64 is what the tests run. linux/arm64 is not tested: nobody has run it on a node of that architecture yet.
variable "REPOSITORY" { default = "gpu-session-monitor" }
variable "VERSION" { default = "unknown" }
variable "REVISION" { default = "unknown" }

target "default" {
  context    = "."
  dockerfile = "packaging/image/Dockerfile"
  platforms  = ["linux/amd64", "linux/arm64"]
  tags       = ["${REPOSITORY}:${VERSION}"]
  args = {
    VERSION  = VERSION
    REVISION = REVISION
  }
}
