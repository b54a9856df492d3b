# VERSION=0.1.0 REVISION=$(git rev-parse HEAD) docker buildx bake -f packaging/image/bake.hcl
# Not built by any test; what is tested is the image of `make image`, on amd64. linux/arm64 is untested altogether: nobody
# has run it on a node of that architecture yet.
variable "REPOSITORY" { default = "gpu-session-monitor" }
variable "VERSION" {}
variable "REVISION" {}

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
