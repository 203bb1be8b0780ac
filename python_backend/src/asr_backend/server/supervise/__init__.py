"""A running tritonserver: its processes, their health and their replacement.

`supervisor` runs tritonserver and replaces it; `model_supervisor` replaces dead and hung processes
of one model, by the table in `model_state`. `process` and `stubs` are the processes themselves,
`hang_detector` and `canary` find those that hang, `retirement` ends old ones, `allowance` bounds
how often.
`launcher` and `watchdog` are small programs around tritonserver; `health` answers probes.
"""
