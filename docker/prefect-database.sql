-- Run once, when the volume is new: the Prefect server has a database of its own.
CREATE DATABASE prefect;
