"""Everything before tritonserver starts.

`checkpoint_source` finds the checkpoint, `devices` the GPUs, `tritonserver` the program and its
command line, `credentials` the certificates and the token, `addresses` and `ports` where to listen.
`run_directory` makes the private model repository, with settings written into each config.pbtxt by
`pbtxt`. `guard` is the library that is preloaded into the wheel's tritonserver.
"""
