"""The capacity model: what machines that were not measured would do, from a sweep's costs."""
