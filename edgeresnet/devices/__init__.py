"""Machines that are reached over SSH: a bundle is sent, measured there, and its result is fetched.

book (devices.yaml) · ssh (one connection to one device) · agent (what runs there) · looking (what is known of a
device) · measuring (a job, whatever becomes of the line). Judges nothing, and knows no run.
"""
